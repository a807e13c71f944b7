package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// An infoReader reads the members of the JSON object of one path info. It stops at the first
// error.
type infoReader struct {
	object  map[string]json.RawMessage
	path    storepath.Path
	dir     storepath.Dir
	listed  bool // the object is an element of an array: see parseInfoList
	version uint64
	err     error
}

// readVersion reads the version, which determines the meaning of the other members.
func (r *infoReader) readVersion() {
	r.version = minJSONVersion
	value, ok := r.object["version"]
	if !ok {
		return
	}
	var err error
	r.version, err = strconv.ParseUint(string(value), 10, 64)
	if err != nil || r.version < minJSONVersion || r.version > maxJSONVersion {
		r.err = &PathInfoJSONError{r.path, "version", fmt.Errorf("unknown version %.40s, expected 1, 2 or 3", value)}
	}
}

// read reads the member with a key. It may be missing unless need is set.
func (r *infoReader) read(info *PathInfo, key string, read func(*PathInfo, json.RawMessage) error, need bool) {
	if r.err != nil {
		return
	}
	value, ok := r.object[key]
	var err error
	switch {
	case ok:
		err = read(info, value)
	case need:
		err = errors.New("it is missing")
	}
	if err != nil {
		r.err = &PathInfoJSONError{r.path, key, err}
	}
}

func (r *infoReader) storeDir(_ *PathInfo, value json.RawMessage) error {
	s, err := parseString(value)
	if err == nil && s != string(r.dir) {
		err = fmt.Errorf("the store directory is %q instead of %q", s, r.dir)
	}
	return err
}

func (r *infoReader) narHash(info *PathInfo, value json.RawMessage) (err error) {
	if r.listed {
		s, err := parseString(value)
		if err == nil {
			info.NARHash, err = nixhash.Parse(s)
		}
		return err
	}
	info.NARHash, err = parseHash(value)
	return err
}

// Like Nix, narSize refuses a number with a fraction or an exponent.
func (r *infoReader) narSize(info *PathInfo, value json.RawMessage) (err error) {
	info.NARSize, err = strconv.ParseUint(string(value), 10, 64)
	return err
}

func (r *infoReader) references(info *PathInfo, value json.RawMessage) error {
	values, err := parseArray(value)
	if err != nil {
		return err
	}
	var references []storepath.Path
	for _, value := range values {
		p, err := r.parsePath(value)
		if err != nil {
			return err
		}
		references = append(references, p)
	}
	info.References = asSet(references)
	return nil
}

func (r *infoReader) contentAddress(info *PathInfo, value json.RawMessage) error {
	if isNull(value) {
		return nil
	}
	if r.version == 1 {
		s, err := parseString(value)
		if err == nil {
			info.CA, err = storepath.ParseContentAddress(s)
		}
		return err
	}
	object, err := parseObject(value)
	if err != nil {
		return err
	}
	word, err := parseString(object["method"])
	if err != nil {
		return fmt.Errorf("method: %w", err)
	}
	method, err := storepath.ParseMethod(word)
	if err != nil || method.String() != word { // ParseMethod also accepts a word of outputHashMode
		return fmt.Errorf("%q is not a method, expected text, flat, nar or git", word)
	}
	hash, err := parseHash(object["hash"])
	if err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	info.CA, err = storepath.NewContentAddress(method, hash)
	return err
}

func (r *infoReader) deriver(info *PathInfo, value json.RawMessage) (err error) {
	if !isNull(value) {
		info.Deriver, err = r.parsePath(value)
	}
	return err
}

func (r *infoReader) registrationTime(info *PathInfo, value json.RawMessage) error {
	if isNull(value) {
		return nil
	}
	seconds, err := strconv.ParseInt(string(value), 10, 64)
	if err == nil && seconds != 0 {
		info.RegistrationTime = time.Unix(seconds, 0).UTC()
	}
	return err
}

func (r *infoReader) ultimate(info *PathInfo, value json.RawMessage) error {
	if isNull(value) {
		return errors.New("it is null instead of true or false")
	}
	return json.Unmarshal(value, &info.Ultimate)
}

func (r *infoReader) signatures(info *PathInfo, value json.RawMessage) error {
	values, err := parseArray(value)
	if err != nil {
		return err
	}
	for _, value := range values {
		var s signature.Signature
		if err := s.UnmarshalJSON(value); err != nil {
			return err
		}
		info.Signatures = append(info.Signatures, s.String())
	}
	info.Signatures = asSet(info.Signatures)
	return nil
}

// parsePath reads a path in the form of the version. Like Nix it accepts an absolute path that
// is not clean, such as one with two slashes.
func (r *infoReader) parsePath(value json.RawMessage) (storepath.Path, error) {
	s, err := parseString(value)
	switch {
	case err != nil:
		return "", err
	case r.version >= 2:
		return r.dir.ParseBase(s)
	}
	return r.dir.Parse(path.Clean(s))
}

func parseArray(value json.RawMessage) (values []json.RawMessage, err error) {
	if isNull(value) {
		return nil, errors.New("it is null instead of an array")
	}
	err = json.Unmarshal(value, &values)
	return values, err
}

// asSet returns s sorted and without duplicates. It returns s itself if that is so already.
func asSet[T ~string](s []T) []T {
	if !slices.IsSorted(s) {
		s = slices.Sorted(slices.Values(s))
	}
	for i := 1; i < len(s); i++ {
		if s[i] == s[i-1] {
			return slices.Compact(slices.Clone(s))
		}
	}
	return s
}
