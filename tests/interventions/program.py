"""What the test of ranks starts: `program.py run CONFIG --out DIR`."""

from lpm.cli import main

if __name__ == "__main__":
    main()
