package canonical

import "fmt"

// Options limit the files that a canonical tree may contain.
type Options struct {
	// FirstUser and Users are the range of users that the files must belong to. Any user is allowed if Users is 0.
	FirstUser, Users int

	// IgnoredAttributes are the extended attributes that files may keep, for example because the system adds them to
	// all files.
	IgnoredAttributes []string

	// FindWriters lets Written report whether files are open for writing.
	FindWriters bool
}

// A Rejection says why a tree cannot become an object. The builder has caused it, not the machine.
type Rejection struct {
	File   string // its name on this machine
	Reason string // with %s for the quoted name
}

func (e *Rejection) Error() string { return fmt.Sprintf(e.Reason, `"`+e.File+`"`) }

// The reasons of a [Rejection]. The first two are the words of Nix.
const (
	unsupportedType  = "file %s has an unsupported type"
	invalidOwnership = "invalid ownership on file %s"
	tooDeep          = "file %s is nested too deeply: an object has at most 64 levels"
	replaced         = "file %s was replaced while the output was read"
)
