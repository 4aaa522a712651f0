"""What a run says of itself: on the terminal, in files, to TensorBoard, W&B."""
