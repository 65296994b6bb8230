"""What stands for the published weights: a server that can fail, and files for it to serve."""
