"""Images: pulling, loading, listing and removing. One file a verb; `Images` in `service` is the way in."""
