"""The checks of `reelqueue doctor`."""
