"""What single image formats need before and after they are decoded."""
