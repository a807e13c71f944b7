package live

import (
	"errors"
	"strings"

	"pix/activity"
)

// A failure is a failed build, as a message of a daemon describes it.
type failure struct {
	drv        string
	reason     []string // lines; at least one
	dependency bool     // a dependency failed, and the build was not tried
}

// maxReasonLines is the number of lines of a reason that are kept.
const maxReasonLines = 12

// parseFailure parses a message of a daemon about a failed build. isError says that the message is known to be an error;
// else it must begin with "error: " or have one of the first two forms, which are from before 2.4. The last form is
// used since 2.30:
//
//	builder for '/nix/store/….drv' failed with exit code 3
//	cannot build derivation '/nix/store/….drv': 2 dependencies couldn't be built
//	error: builder for '/nix/store/….drv' failed with exit code 3;
//	error: 2 dependencies of derivation '/nix/store/….drv' failed to build
//	error: Cannot build '/nix/store/….drv'.
//	       Reason: builder failed with exit code 3.
//
// Any other error that names a derivation, such as a hash mismatch, is a failure of that derivation, too.
func parseFailure(message string, isError bool) (f failure, ok bool) {
	lines := safeLines(message)
	if len(lines) == 0 {
		return f, false
	}
	first, hasPrefix := strings.CutPrefix(lines[0], "error: ")
	isError = isError || hasPrefix
	if f.drv = quotedDerivation(first); f.drv == "" {
		return f, false
	}
	if !isError && !strings.HasPrefix(first, "builder for '") && !strings.HasPrefix(first, "cannot build derivation '") {
		return f, false
	}
	lines[0] = strings.TrimRight(withoutDerivation(first, f.drv), ";:.")
	if lines[0] = strings.TrimPrefix(lines[0], "build failed: "); lines[0] == "build failed" { // Nix 2.3 says that about all requested builds
		return f, false
	}
	f.reason = reasonOf(lines)
	f.dependency = strings.Contains(f.reason[0], "dependenc")
	return f, true
}

// quotedDerivation returns the first derivation in quotes, or "".
func quotedDerivation(text string) string {
	for {
		_, after, ok := strings.Cut(text, "'")
		if !ok {
			return ""
		}
		quoted, rest, ok := strings.Cut(after, "'")
		if ok && strings.HasPrefix(quoted, "/") && strings.HasSuffix(quoted, ".drv") && !strings.Contains(quoted, " ") {
			return quoted
		}
		text = rest
		if !ok || !strings.Contains(rest, "'") {
			return ""
		}
	}
}

// withoutDerivation removes the derivation from a message, because the view shows its name beside the message.
func withoutDerivation(text, drv string) string {
	text = strings.TrimPrefix(text, "cannot build derivation '"+drv+"': ")
	for _, preposition := range []string{" for ", " of derivation ", " of ", " "} {
		text = strings.Replace(text, preposition+"'"+drv+"'", "", 1)
	}
	return text
}

// reasonOf returns the lines of a message that have the reason, without the log lines, which the view has already.
func reasonOf(lines []string) []string {
	for i, l := range lines {
		text := strings.TrimSpace(l)
		if reason, ok := strings.CutPrefix(text, "Reason: "); ok {
			return []string{strings.TrimRight(reason, ".;")}
		}
		if i > 0 && (strings.HasSuffix(text, "log lines:") || strings.HasPrefix(text, "For full logs") || strings.HasPrefix(text, "Output paths:")) {
			lines = lines[:i]
			break
		}
	}
	if len(lines) > maxReasonLines {
		lines = lines[:maxReasonLines]
	}
	return lines
}

// recordFailure stores a failure that a message has reported. It returns false if the build is unknown or has not run.
func (s *State) recordFailure(f failure) bool {
	b := s.builds[f.drv]
	if b == nil {
		return false
	}
	switch {
	case f.dependency:
		if b.state == waiting {
			s.setState(b, blocked)
		}
		return true
	case b.state == running || b.state == stopped:
		s.setState(b, failed)
		switch c := &s.count; {
		case c.failed > 0:
			c.failed--
		case c.lateFailed > 0:
			c.lateFailed--
		default:
			c.announced++
		}
	case b.state != failed:
		return false
	}
	b.reason = f.reason
	return true
}

// recordError looks for the reason of a failed build in the error with which the work ended. If only one derivation was
// requested, no message has the reason.
func (s *State) recordError(err error) {
	texts := []string{": " + err.Error()}
	var reported *activity.Error
	if errors.As(err, &reported) {
		texts = []string{": " + reported.Message, ": " + err.Error()}
	}
	for _, text := range texts {
		for i := len(text); i >= 0; i = strings.LastIndex(text[:i], ": ") { // context comes before a colon
			f, ok := parseFailure(strings.TrimPrefix(text[i:], ": "), true)
			if b := s.builds[f.drv]; ok && b != nil && b.reason == nil && s.recordFailure(f) {
				return
			}
		}
	}
}
