"""Policy studies: named scenarios beside a baseline, with the same draws; what each averts, and what it costs.

`plan` reads a study's file, `runs` simulates, `compare` answers, `report` writes tables and a page. `command` is the
command line's.
"""
