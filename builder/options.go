package builder

// Options say how builds run on this machine.
type Options struct{}
