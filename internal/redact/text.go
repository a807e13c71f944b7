package redact

import (
	"regexp"
	"strings"
)

// hidden replaces a login, a password or a parameter in a text, as net/url does.
const hidden = "xxxxx"

var (
	// login matches the user and the password of an HTTP URL, also of one like "git+https://". Both are
	// hidden, because services take a token as the user: "https://TOKEN@host" or
	// "https://TOKEN:x-oauth-basic@host".
	login = regexp.MustCompile(`(?i)((?:[a-z0-9.+-]+\+)?https?://)[^\s/?#'"]*@`)

	// password matches the user and the password of another URL.
	password = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'"]*):[^\s/'"]*@`)

	// parameter matches a parameter of a URL with a secret value. "secret-key" of a store is the name of
	// a file.
	parameter = regexp.MustCompile(`(?i)([?&;](?:[a-z0-9_.-]*(?:token|passw|credential|signature)[a-z0-9_.-]*|[a-z0-9_.-]*secret)=)[^&;#\s'"]+`)

	// netrc matches an entry of a netrc file. In a quoted text, its lines end in an escape sequence.
	netrc = regexp.MustCompile(`((?:machine` + space + word + `|default)` + space + `(?:login` + space + word + space + `)?password` + space + `)` + word)
)

const (
	space = `(?:\s|\\[nrt])+`
	word  = `[^\s\\]+`
)

// Text returns a text without the logins of the HTTP URLs in it, the passwords of other URLs, the
// parameters of URLs whose names say that they are secret, and the passwords of netrc files.
func Text(s string) string {
	if strings.Contains(s, "://") {
		if strings.Contains(s, "@") {
			s = login.ReplaceAllString(s, "${1}"+hidden+"@")
			s = password.ReplaceAllString(s, "${1}:"+hidden+"@")
		}
		if strings.Contains(s, "?") {
			s = parameter.ReplaceAllString(s, "${1}"+hidden)
		}
	}
	if strings.Contains(s, "password") {
		s = netrc.ReplaceAllString(s, "${1}"+hidden)
	}
	return s
}

// secretNames match the settings whose values are not shown.
var secretNames = regexp.MustCompile(`(?i)token|passw|secret|credential|netrc|impure-env|(?:api|private)[-_]?key`)

// Secret replaces a secret value. It has neither the length of the value nor its hash, from which a short
// password could be guessed.
const Secret = "(secret)"

// IsSecret reports whether the value of a setting, an option or a variable with this name can be a
// secret.
func IsSecret(name string) bool { return secretNames.MatchString(name) }
