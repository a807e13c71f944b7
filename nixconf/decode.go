package nixconf

import (
	"encoding/json"
	"strconv"
)

// Decode returns a canonical value in the form that it has in JSON, as Nix prints it: a bool, a number, a
// string, nil for an [OptionalPath] that is not set, a list or a map.
func (s *Setting) Decode(text string) any {
	switch s.Type {
	case Bool:
		return text == "true"
	case Uint32, Uint64, Int64, Jobs:
		if _, err := strconv.ParseInt(text, 10, 64); err != nil && s.Type == Jobs {
			return text
		}
		return json.Number(text)
	case OptionalPath:
		if text == "" {
			return nil
		}
	case Words, Set, FixedSet, Features, StoreURIs, StoreURISet:
		return append([]string{}, words(text)...)
	case Map:
		return parseMap(text)
	case SandboxPaths:
		return parseSandboxPaths(text)
	case SandboxMode:
		if text != "relaxed" {
			return text == "true"
		}
	case ExternalBuilders:
		return json.RawMessage(text)
	}
	return text
}

// Check returns an error with the words of Nix if a value of the setting is invalid.
func (s *Setting) Check(value string) error {
	_, err := s.canonical(value)
	return err
}
