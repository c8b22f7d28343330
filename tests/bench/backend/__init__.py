"""A lean backend for measurements: it speaks the video API's protocol and answers immediately."""
