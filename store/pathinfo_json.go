package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"pix/nixhash"
	"pix/storepath"
)

// Path infos have a JSON form, which `nix path-info --json` prints. It has three versions. Nix
// still writes and reads each:
//
//	1   paths are absolute, content addresses are strings
//	2   paths are base names, content addresses are objects
//	3   signatures are objects, too (from Nix 2.35)
//
// The path itself is not in the object. It is the key of the object in an outer object.
//
// Source: src/libstore/path-info.cc and src/nix/path-info.cc in Nix.

// The versions of the JSON form.
const (
	minJSONVersion = 1
	maxJSONVersion = 3
)

// A PathInfoJSON is a JSON form of [PathInfo].
type PathInfoJSON struct {
	Version int // 1, 2 or 3

	// Pure omits the members that do not follow from the object and its path: deriver,
	// registration time, ultimate and signatures.
	Pure bool
}

// A PathInfoJSONError is an error of writing or reading the JSON form of a path info.
type PathInfoJSONError struct {
	Path storepath.Path // the path of the info; "" for the whole text
	Key  string         // the member; "" for the whole object
	Err  error
}

func (e *PathInfoJSONError) Error() string {
	text := "JSON of path infos"
	if e.Path != "" {
		text = fmt.Sprintf("JSON of the path info of '%s'", e.Path)
	}
	if e.Key != "" {
		text += fmt.Sprintf(", key %q", e.Key)
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *PathInfoJSONError) Unwrap() error { return e.Err }

// ParsePathInfoJSON reads the info of a path in any of the three forms. Like Nix it takes a
// text without a version as version 1, accepts missing impure members, and ignores unknown
// members. A signature may have either form in each version.
//
// The error is a [*PathInfoJSONError], also if the text has another store directory than the
// path.
func ParsePathInfoJSON(path storepath.Path, text []byte) (*PathInfo, error) {
	if _, err := storepath.Parse(string(path)); err != nil {
		return nil, &PathInfoJSONError{"", "", err}
	}
	object, err := parseObject(text)
	if err != nil {
		return nil, &PathInfoJSONError{path, "", err}
	}
	r := infoReader{object: object, path: path, dir: path.Dir()}
	return r.readInfo()
}

// readInfo reads the info of r.path.
func (r *infoReader) readInfo() (*PathInfo, error) {
	r.readVersion()
	info := &PathInfo{Path: r.path}
	for _, field := range []struct {
		key  string
		read func(info *PathInfo, value json.RawMessage) error
		need bool
	}{
		{"storeDir", r.storeDir, r.version >= 2},
		{"narHash", r.narHash, true},
		{"narSize", r.narSize, true},
		{"references", r.references, true},
		{"ca", r.contentAddress, !r.listed},
		{"deriver", r.deriver, false},
		{"registrationTime", r.registrationTime, false},
		{"ultimate", r.ultimate, false},
		{"signatures", r.signatures, false},
	} {
		r.read(info, field.key, field.read, field.need)
	}
	if r.err != nil {
		return nil, r.err
	}
	return info, nil
}

// ParsePathInfosJSON reads the output of `nix path-info --json` about paths in dir: an object
// from Nix 2.19 on, and an array in older versions and in Lix. The info of an invalid path is
// nil. The errors are the same as of [ParsePathInfoJSON].
func ParsePathInfosJSON(dir storepath.Dir, text []byte) (map[storepath.Path]*PathInfo, error) {
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) {
		return parseInfoList(dir, text)
	}
	entries, err := parseObject(text)
	if err != nil {
		return nil, &PathInfoJSONError{"", "", err}
	}
	parsePath := dir.Parse
	// In version 1 the keys are absolute paths.
	if inner, ok := entries["info"]; ok {
		parsePath = dir.ParseBase
		if entries, err = parseObject(inner); err != nil {
			return nil, &PathInfoJSONError{"", "info", err}
		}
	}
	infos := make(map[storepath.Path]*PathInfo, len(entries))
	for key, value := range entries {
		path, err := parsePath(key)
		if err != nil {
			return nil, &PathInfoJSONError{"", "", err}
		}
		if isNull(value) {
			infos[path] = nil
			continue
		}
		if infos[path], err = ParsePathInfoJSON(path, value); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// parseInfoList reads path infos in the form of Nix up to 2.18 and Lix: an array of objects,
// each with its path. A missing content address is omitted, and Nix 2.3 writes the hash in base
// 32.
func parseInfoList(dir storepath.Dir, text []byte) (map[storepath.Path]*PathInfo, error) {
	if !utf8.Valid(text) {
		return nil, &PathInfoJSONError{"", "", errors.New("it is not UTF-8")}
	}
	values, err := parseArray(text)
	if err != nil {
		return nil, &PathInfoJSONError{"", "", err}
	}
	infos := make(map[storepath.Path]*PathInfo, len(values))
	for _, value := range values {
		r := infoReader{dir: dir, listed: true, version: minJSONVersion}
		if r.object, err = parseObject(value); err == nil {
			r.path, err = r.parsePath(r.object["path"])
		}
		if err != nil {
			return nil, &PathInfoJSONError{"", "path", err}
		}
		if valid, ok := r.object["valid"]; ok && string(valid) == "false" {
			infos[r.path] = nil
			continue
		}
		if infos[r.path], err = r.readInfo(); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// parseObject reads an object. As in Nix, names are case-sensitive, and the last of several
// members with the same name counts.
func parseObject(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	if isNull(text) {
		return nil, errors.New("it is null instead of an object")
	}
	var object map[string]json.RawMessage
	err := json.Unmarshal(text, &object)
	return object, err
}

func isNull(value []byte) bool { return string(bytes.TrimSpace(value)) == "null" }

// parseHash reads a hash in JSON, which must have the SRI form.
func parseHash(value json.RawMessage) (nixhash.Hash, error) {
	s, err := parseString(value)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return nixhash.ParseSRI(s)
}

func parseString(value json.RawMessage) (s string, err error) {
	switch {
	case len(value) == 0:
		return "", errors.New("it is missing")
	case isNull(value):
		return "", errors.New("it is null instead of a string")
	}
	err = json.Unmarshal(value, &s)
	return s, err
}
