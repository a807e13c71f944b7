package redact

import (
	"regexp"
	"strings"
)

// password matches the user and the password of a URL in a text.
var password = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'"]*):[^\s/'"]*@`)

// Text returns a text without the passwords of the URLs in it.
func Text(s string) string {
	if !strings.Contains(s, "://") || !strings.Contains(s, "@") {
		return s
	}
	return password.ReplaceAllString(s, "$1:xxxxx@")
}

// secretNames match the settings whose values are not shown.
var secretNames = regexp.MustCompile(`(?i)token|passw|secret|credential|netrc|impure-env`)

// Secret replaces a secret value. It has neither the length of the value nor its hash, from which a short
// password could be guessed.
const Secret = "(secret)"

// IsSecret reports whether the value of a setting, an option or a variable with this name can be a
// secret.
func IsSecret(name string) bool { return secretNames.MatchString(name) }
