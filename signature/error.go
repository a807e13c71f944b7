package signature

import "fmt"

// An Error says why a text is no key or signature, or why a signature does not hold. It
// never shows a secret.
type Error struct {
	What   string // "secret key", "public key" or "signature"
	Name   string // of the key; "" if that is not known
	Reason string
}

func (e *Error) Error() string {
	const most = 160 // characters of the name to show
	switch {
	case e.Name == "":
		return e.What + ": " + e.Reason
	case len(e.Name) > most:
		return fmt.Sprintf("%s %q: %s", e.What, e.Name[:most]+"…", e.Reason)
	}
	return fmt.Sprintf("%s %q: %s", e.What, e.Name, e.Reason)
}
