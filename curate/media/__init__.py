"""Videos and images: decoding, probing, perceptual hashing, frames, transcoding."""
