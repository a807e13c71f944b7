// Package redact keeps passwords, tokens and other secrets out of errors, logs and output.
package redact

import (
	"errors"
	"net/url"
	"strings"
)

// URL returns a URL without the parts that [Text] hides. If a URL cannot be parsed and may have a password,
// URL returns only the scheme.
func URL(text string) string {
	if strings.Contains(text, "@") {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Opaque != "":
			scheme, _, _ := strings.Cut(text, ":")
			return scheme + "://…"
		case u.User != nil:
			text = u.Redacted()
		}
	}
	return Text(text)
}

// Error returns an error of net/url or net/http without the URL that it repeats.
func Error(err error) error {
	inURL, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if _, ok := inURL.Err.(url.EscapeError); ok && strings.Contains(inURL.URL, "@") {
		return errors.New("invalid URL escape") // the text of the error may be a part of a password
	}
	return inURL.Err
}
