package live

import (
	"errors"
	"strings"

	"pix/activity"
)

// A failure is what a message says of a build that failed.
type failure struct {
	drv        string
	reason     []string // lines; never none
	dependency bool     // it was not even tried
}

// maxReason is how many lines of a reason are kept.
const maxReason = 12

// failureIn returns what a message of a daemon says of a failed build, and whether it
// does. These are the forms, the first two from before 2.4, the last from 2.30 on:
//
//	builder for '/nix/store/….drv' failed with exit code 3
//	cannot build derivation '/nix/store/….drv': 2 dependencies couldn't be built
//	error: builder for '/nix/store/….drv' failed with exit code 3;
//	error: 2 dependencies of derivation '/nix/store/….drv' failed to build
//	error: Cannot build '/nix/store/….drv'.
//	       Reason: builder failed with exit code 3.
//
// and others in which an error names a derivation, such as a hash mismatch.
func failureIn(message string) (f failure, ok bool) {
	return failureOf(message, false)
}

// failureOf does what failureIn does for a message that may be known to be an error.
func failureOf(message string, isError bool) (f failure, ok bool) {
	lines := paragraph(message)
	if len(lines) == 0 {
		return f, false
	}
	first, says := strings.CutPrefix(lines[0], "error: ")
	isError = isError || says
	if f.drv = quotedDerivation(first); f.drv == "" {
		return f, false
	}
	if !isError && !strings.HasPrefix(first, "builder for '") && !strings.HasPrefix(first, "cannot build derivation '") {
		return f, false
	}
	lines[0] = strings.TrimRight(shortQuote(first, f.drv), ";:.")
	if lines[0] = strings.TrimPrefix(lines[0], "build failed: "); lines[0] == "build failed" { // as 2.3 says of all that were asked for
		return f, false
	}
	f.reason = reasonOf(lines)
	f.dependency = strings.Contains(f.reason[0], "dependenc")
	return f, true
}

// quotedDerivation returns the first derivation between quotes in a text, or "".
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

// shortQuote leaves out of a text which derivation it is about, as that is said elsewhere.
func shortQuote(text, drv string) string {
	text = strings.TrimPrefix(text, "cannot build derivation '"+drv+"': ")
	for _, before := range []string{" for ", " of derivation ", " of ", " "} {
		text = strings.Replace(text, before+"'"+drv+"'", "", 1)
	}
	return text
}

// reasonOf returns those lines of a message that say why. Log lines are left out: they
// are known.
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
	if len(lines) > maxReason {
		lines = lines[:maxReason]
	}
	return lines
}

// fail takes in a failure that was said, and reports whether it is of a build that is known.
func (s *State) fail(f failure) bool {
	b := s.builds[f.drv]
	if b == nil {
		return false
	}
	switch {
	case f.dependency:
		if b.state == waiting {
			s.move(b, blocked)
		}
		return true
	case b.state == running || b.state == stopped:
		s.move(b, failed)
		switch c := &s.count; {
		case c.failed > 0:
			c.failed--
		case c.lateFailed > 0:
			c.lateFailed--
		default:
			c.told++
		}
	case b.state != failed:
		return false
	}
	b.reason = f.reason
	return true
}

// fault takes in the error with which the work ended. It is the only one to say why, if
// there was one thing to build, and that failed.
func (s *State) fault(err error) {
	texts := []string{": " + err.Error()}
	var said *activity.Error
	if errors.As(err, &said) {
		texts = []string{": " + said.Message, ": " + err.Error()}
	}
	for _, text := range texts {
		for i := len(text); i >= 0; i = strings.LastIndex(text[:i], ": ") { // before it stands what was being done
			f, ok := failureOf(strings.TrimPrefix(text[i:], ": "), true)
			if b := s.builds[f.drv]; ok && b != nil && b.reason == nil && s.fail(f) {
				return
			}
		}
	}
}
