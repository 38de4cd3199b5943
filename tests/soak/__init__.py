"""Bad luck on everything: runs are killed, disks fill, files rot, databases are held, and the next run must go on."""
