"""The machine and the command line: processes, folders, locks, configs."""
