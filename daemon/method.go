package daemon

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
)

// The first releases of Nix that know a method or an algorithm, and the protocol that they
// speak. Nix 2.20 to 2.23 speak 1.37, later ones 1.38.
var (
	gitRelease    = release{2, 21, protocol.MakeVersion(37)}
	blake3Release = release{2, 27, protocol.MakeVersion(38)}
)

// A release is a version of Nix and the version of the protocol that it speaks.
type release struct {
	major, minor int
	speaks       protocol.Version
}

// A methodError says that an object was not sent, because the daemon does not know its kind of
// content address. It is [errors.ErrUnsupported].
type methodError struct {
	method    storepath.Method
	algorithm nixhash.Algorithm
	why       string
}

func (e *methodError) Error() string {
	return fmt.Sprintf("cannot add by method %s with %s: %s", e.method, e.algorithm, e.why)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *methodError) Is(target error) bool { return target == errors.ErrUnsupported }

// checkMethod returns a [*methodError] if the daemon certainly refuses objects with such a
// content address. Nix would refuse the request and read the contents as the next one. A daemon
// that knows the method may still refuse it, if its experimental feature is disabled.
func (c *Conn) checkMethod(m storepath.Method, a nixhash.Algorithm) error {
	why := ""
	switch {
	case m == storepath.Text && a != nixhash.SHA256:
		why = "texts are addressed by their sha256"
	case m == storepath.Git && a != nixhash.SHA1 && a != nixhash.SHA256:
		why = "git objects are addressed by their sha1 or sha256"
	case m == storepath.Git:
		why = c.olderThan(gitRelease)
	case a == nixhash.BLAKE3:
		why = c.olderThan(blake3Release)
	}
	if why == "" {
		return nil
	}
	return &methodError{m, a, why}
}

// olderThan returns an explanation if the daemon is certainly older than a release of Nix, else
// "". The daemon's own version counts only if it has the form of Nix's.
func (c *Conn) olderThan(r release) string {
	if c.Version() < r.speaks {
		return fmt.Sprintf("the daemon speaks protocol %s, Nix %d.%d or later is needed, which speaks %s", c.Version(), r.major, r.minor, r.speaks)
	}
	major, minor, ok := parseNixVersion(c.NixVersion())
	if ok && (major < r.major || major == r.major && minor < r.minor) {
		return fmt.Sprintf("the daemon is Nix %s, %d.%d or later is needed", c.NixVersion(), r.major, r.minor)
	}
	return ""
}

// parseNixVersion returns the first two numbers of a version such as "2.34.8" or
// "2.24pre20240827_d5e5a1b".
func parseNixVersion(s string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(s, ".")
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(rest)
	return major, minor, err == nil
}
