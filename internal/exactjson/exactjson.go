// Package exactjson reads JSON objects by the exact names of their members.
//
// Package encoding/json matches the names of members in any case, and lets the last of several with one
// name count. So a text could say one thing to a program that reads it in this way, and another to the
// one that has signed or checked it. Here a name has one spelling, and a name that comes twice is an
// error: no version of Nix writes that, and two readers may disagree on which of the two counts.
package exactjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Object reads a text that is one JSON object, and returns its members as they are written.
func Object(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) { // encoding/json would take several names for one
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	members := make(map[string]json.RawMessage)
	err := Members(d, func(name string) error {
		if _, twice := members[name]; twice {
			return fmt.Errorf("the member %q is there twice", name)
		}
		var value json.RawMessage
		err := d.Decode(&value)
		members[name] = value
		return err
	})
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return nil, noEOF(err)
	}
	return members, nil
}

// Members reads the object that comes next, and calls read with the name of each member to read its
// value from d.
func Members(d *json.Decoder, read func(name string) error) error {
	begin, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("there is %v instead of an object", begin)
	}
	for d.More() {
		name, err := d.Token()
		if err == nil {
			err = read(name.(string)) // as in every object
		}
		if err != nil {
			return noEOF(err)
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

// String reads a value that must be a string.
func String(value json.RawMessage) (string, error) {
	var s *string
	if len(value) == 0 {
		return "", errors.New("it is missing")
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return "", err
	}
	if s == nil {
		return "", errors.New("it is null instead of a string")
	}
	return *s, nil
}

// noEOF keeps a truncated text from looking like a truncated stream.
func noEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the JSON text ends too early")
	}
	return err
}
