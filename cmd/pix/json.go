package main

import (
	"bytes"
	"encoding/json"
)

// marshalJSON writes v indented by two, with a line feed at its end, and leaves <, > and &
// as they are.
func marshalJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.String(), err
}

// orNull makes an empty text null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// printJSON prints v as marshalJSON writes it.
func (a *app) printJSON(v any) error {
	text, err := marshalJSON(v)
	if err != nil {
		return err
	}
	return a.print(text)
}

// printEither prints the object as JSON, or the text.
func (a *app) printEither(text string, object any, asJSON bool) error {
	if asJSON {
		return a.printJSON(object)
	}
	return a.print(text)
}
