// Package exactjson reads JSON objects by the exact names of their members.
//
// Package encoding/json ignores the case of names, and uses the last of several members with one name.
// So one text could mean one thing to the program that signs or checks it, and another thing to the
// program that reads it with encoding/json. Here the case matters, and a duplicate name is an
// error: no version of Nix writes one, and readers may disagree on which member counts.
package exactjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Object parses a text that is one JSON object, and returns the raw values of its members by name.
func Object(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) { // encoding/json would replace invalid bytes, and so make different names equal
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	members := make(map[string]json.RawMessage)
	err := Members(d, func(name string) error {
		if _, twice := members[name]; twice {
			return fmt.Errorf("the member %q is duplicated", name)
		}
		var value json.RawMessage
		err := d.Decode(&value)
		members[name] = value
		return err
	})
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("the object is followed by other text")
		}
	}
	if err != nil {
		return nil, noEOF(err)
	}
	return members, nil
}

// Members reads the next object from d. For each member it calls read with the name; read must read the
// value from d. Duplicate names are not detected.
func Members(d *json.Decoder, read func(name string) error) error {
	begin, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("expected an object, but got %v", begin)
	}
	for d.More() {
		name, err := d.Token()
		if err == nil {
			err = read(name.(string)) // the decoder accepts only strings here
		}
		if err != nil {
			return noEOF(err)
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

// String parses a value that must be a string. A missing value and null are errors.
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

// noEOF replaces io.EOF and io.ErrUnexpectedEOF, which a caller would take for the end of its own stream.
func noEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the JSON text ends too early")
	}
	return err
}
