package exactjson

import (
	"bytes"
	"encoding/json"
)

// Marshal encodes a value like Nix: members of maps are sorted, and no character is escaped for HTML. One
// thing differs: the characters U+2028 and U+2029 are escaped.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
