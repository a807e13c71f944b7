package main

import (
	"bytes"
	"encoding/json"

	"pix/store"
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

// pathInfoJSON is a path info as path-info --json prints it. The members are those of
// version 1 of Nix's own form.
type pathInfoJSON struct {
	CA               *string  `json:"ca"`
	Deriver          *string  `json:"deriver"`
	NARHash          string   `json:"narHash"`
	NARSize          uint64   `json:"narSize"`
	References       []string `json:"references"`
	RegistrationTime int64    `json:"registrationTime"`
	Signatures       []string `json:"signatures"`
	Ultimate         bool     `json:"ultimate"`
}

func pathInfosJSON(infos []*store.PathInfo) (string, error) {
	object := make(map[string]pathInfoJSON, len(infos))
	for _, info := range infos {
		j := pathInfoJSON{
			CA:         orNull(info.CA.String()),
			Deriver:    orNull(string(info.Deriver)),
			NARHash:    info.NARHash.SRI(),
			NARSize:    info.NARSize,
			References: make([]string, len(info.References)),
			Signatures: append([]string{}, info.Signatures...),
			Ultimate:   info.Ultimate,
		}
		for i, p := range info.References {
			j.References[i] = string(p)
		}
		if !info.RegistrationTime.IsZero() {
			j.RegistrationTime = info.RegistrationTime.Unix()
		}
		object[string(info.Path)] = j
	}
	return marshalJSON(object)
}

// orNull makes an empty text null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
