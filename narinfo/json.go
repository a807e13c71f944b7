package narinfo

import (
	"encoding/json"
	"errors"
	"strconv"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// JSON returns n in the format that `nix path-info --json` prints for paths in a binary cache: the
// members of the path info and, unless form.Pure is set, url, compression, downloadHash and
// downloadSize, if they are known. It does not include [NarInfo.Unknown]. The error is a
// [*store.PathInfoJSONError].
func (n *NarInfo) JSON(form store.PathInfoJSON) ([]byte, error) {
	var members []store.JSONMember
	if !form.Pure {
		for _, m := range []struct{ key, value string }{
			{"url", n.URL},
			{"compression", n.Compression},
			{"downloadHash", n.FileHash.String()},
		} {
			if m.value != "" {
				members = append(members, store.JSONMember{Key: m.key, Value: m.value})
			}
		}
		if n.FileSize != 0 {
			members = append(members, store.JSONMember{Key: "downloadSize", Value: n.FileSize})
		}
	}
	return form.Marshal(&n.PathInfo, members...)
}

// ParseJSON parses what [NarInfo.JSON] returns, and everything that [store.ParsePathInfoJSON] accepts:
// the additional members may be missing. The error is a [*store.PathInfoJSONError].
func ParseJSON(path storepath.Path, text []byte) (*NarInfo, error) {
	info, err := store.ParsePathInfoJSON(path, text)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, &store.PathInfoJSONError{Path: path, Err: err}
	}
	n := &NarInfo{PathInfo: *info}
	for _, member := range []struct {
		key  string
		read func(value json.RawMessage) error
	}{
		{"url", func(v json.RawMessage) (err error) { n.URL, err = parseString(v); return err }},
		{"compression", func(v json.RawMessage) (err error) { n.Compression, err = parseString(v); return err }},
		{"downloadHash", func(v json.RawMessage) (err error) { n.FileHash, err = parseHash(v); return err }},
		{"downloadSize", func(v json.RawMessage) (err error) {
			n.FileSize, err = strconv.ParseUint(string(v), 10, 64)
			return err
		}},
	} {
		if value, ok := object[member.key]; ok {
			if err := member.read(value); err != nil {
				return nil, &store.PathInfoJSONError{Path: path, Key: member.key, Err: err}
			}
		}
	}
	return n, nil
}

func parseString(value json.RawMessage) (string, error) {
	var s *string
	err := json.Unmarshal(value, &s)
	if err == nil && s == nil {
		err = errors.New("it is null instead of a string")
	}
	if err != nil {
		return "", err
	}
	return *s, nil
}

func parseHash(value json.RawMessage) (nixhash.Hash, error) {
	s, err := parseString(value)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return nixhash.ParseSRI(s)
}
