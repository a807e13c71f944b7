package builder

// Rejection returns why this machine cannot build a derivation: lines of a message that begin with a line feed. It returns "" if
// the machine has the system and the features that the derivation requires.
func (r *Builder) Rejection(req *Request) (string, error) {
	b, err := newBuild(r.store, &r.opts, req)
	if err != nil {
		return "", err
	}
	return b.rejection(), nil
}
