package builder

// CanBuild reports whether this machine has the system and the features that a derivation requires.
func (r *Builder) CanBuild(req *Request) bool {
	b, err := newBuild(r.store, &r.opts, req)
	return err == nil && b.reject() == nil
}
