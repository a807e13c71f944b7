package binarycache

import (
	"fmt"
	"strings"
)

// A login is a name and a password for a machine.
type login struct {
	machine        string // "" for all that have none of their own
	name, password string
}

// readNetrc reads a netrc file: words, of which machine, default, login, password and
// account name what the next one is. A macro goes from macdef to an empty line.
func readNetrc(file string) ([]login, error) {
	text, err := readLimited(file, maxSmall)
	if err != nil {
		return nil, fmt.Errorf("netrc: %w", err)
	}
	var logins []login
	words := strings.Fields(withoutMacros(string(text)))
	for i := 0; i < len(words); i++ {
		if words[i] == "default" {
			logins = append(logins, login{})
			continue
		}
		if i+1 == len(words) {
			break
		}
		value := words[i+1]
		switch words[i] {
		case "machine":
			logins = append(logins, login{machine: value})
		case "login":
			if len(logins) > 0 {
				logins[len(logins)-1].name = value
			}
		case "password":
			if len(logins) > 0 {
				logins[len(logins)-1].password = value
			}
		case "account":
		default:
			continue
		}
		i++
	}
	return logins, nil
}

// withoutMacros removes macros and comments.
func withoutMacros(text string) string {
	var b strings.Builder
	inMacro := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case inMacro:
			inMacro = trimmed != ""
		case strings.HasPrefix(trimmed, "macdef"):
			inMacro = true
		case !strings.HasPrefix(trimmed, "#"):
			b.WriteString(line)
		}
	}
	return b.String()
}

// lookUp returns the login for a machine. The first that fits counts.
func lookUp(logins []login, machine string) (login, bool) {
	for _, l := range logins {
		if l.machine == "" || strings.EqualFold(l.machine, machine) {
			return l, true
		}
	}
	return login{}, false
}
