"""Files of the outside world, both ways. Every file from outside is opened in a limited child process."""
