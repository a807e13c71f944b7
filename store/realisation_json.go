package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"pix/internal/exactjson"
	"pix/nixhash"
	"pix/storepath"
)

// Realisations have a form in JSON, in which daemons send them and binary caches keep
// them, up to Nix 2.34:
//
//	{"dependentRealisations":{},"id":"sha256:ba78…!out","outPath":"g1w7…-a","signatures":[]}
//
// Source: src/libstore/realisation.cc in Nix.

// HashID returns how Nix up to 2.34 names an output: "sha256:<hash in base 16>!<name>".
func (id DrvOutput) HashID() string { return id.Hash.WithBase16() + "!" + id.Output }

// ID returns the name of an output in messages: its HashID, its PathID if the hash is not known, or the output's own
// name if the path is not known either.
func (id DrvOutput) ID() string {
	switch {
	case !id.Hash.IsZero():
		return id.HashID()
	case id.Path != "":
		return id.PathID()
	}
	return id.Output
}

// ParseHashID reads what [DrvOutput.HashID] returns.
func ParseHashID(s string) (id DrvOutput, err error) {
	hash, name, ok := strings.Cut(s, "!")
	if !ok {
		return id, fmt.Errorf("the output id %q has no '!'", s)
	}
	id.Output = name
	id.Hash, err = nixhash.Parse(hash)
	return id, err
}

// realisationJSON is the form in which realisations are written. Its path is a base name.
type realisationJSON struct {
	// Dependent is what the realisation depends on. Nix 2.34 passes it over, and is
	// followed here; older versions want it.
	Dependent  *struct{}       `json:"dependentRealisations,omitempty"`
	ID         string          `json:"id"`
	OutPath    string          `json:"outPath"`
	Signatures json.RawMessage `json:"signatures,omitempty"`
}

// JSON writes the realisation of an output of a store in dir, whose Hash must be known, as
// Nix 2.34 does.
func (r *KeyedRealisation) JSON(dir storepath.Dir) ([]byte, error) {
	if r.ID.Hash.IsZero() {
		return nil, errors.New("the hash of the derivation is not known")
	}
	if _, err := dir.Parse(string(r.OutPath)); err != nil {
		return nil, err
	}
	for _, s := range append([]string{r.ID.Output}, r.Signatures...) {
		if err := checkUTF8(s); err != nil {
			return nil, err
		}
	}
	signatures, err := printJSON(append([]string{}, sortedOnce(r.Signatures)...))
	if err != nil {
		return nil, err
	}
	return printJSON(realisationJSON{
		Dependent: new(struct{}), ID: r.ID.HashID(), OutPath: r.OutPath.Base(), Signatures: signatures,
	})
}

// checkUTF8 refuses what JSON cannot have. In Nix it is an error, too.
func checkUTF8(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8", s)
	}
	return nil
}

// printJSON prints without what HTML would need, as Nix does.
func printJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// ParseRealisationJSON reads a realisation of a store in dir as any Nix up to 2.34, and
// some later ones, write it. The names of members are exact, and one that comes twice is an error, as
// a signature may cover what it says: see package exactjson.
func ParseRealisationJSON(dir storepath.Dir, text string) (r KeyedRealisation, err error) {
	members, err := exactjson.Object([]byte(text))
	if err != nil {
		return r, err
	}
	id, err := exactjson.String(members["id"])
	if err == nil {
		r.ID, err = ParseHashID(id)
	}
	if err != nil {
		return r, fmt.Errorf("id: %w", err)
	}
	outPath, err := exactjson.String(members["outPath"])
	if err == nil {
		r.OutPath, err = dir.ParseBase(outPath)
	}
	if err != nil {
		return r, fmt.Errorf("outPath: %w", err)
	}
	r.Signatures, err = parseSignatures(members["signatures"])
	return r, err
}

// parseSignatures reads signatures as strings, which released versions write, and as
// objects of key name and signature, which some between them wrote.
func parseSignatures(text json.RawMessage) ([]string, error) {
	if len(text) == 0 {
		return nil, nil
	}
	elements, err := parseArray(text)
	if err != nil {
		return nil, fmt.Errorf("signatures: %w", err)
	}
	var signatures []string
	for _, element := range elements {
		s, err := parseSignature(element)
		if err != nil {
			return nil, fmt.Errorf("signatures: %w", err)
		}
		signatures = append(signatures, s)
	}
	return sortedOnce(signatures), nil
}

func parseSignature(text json.RawMessage) (string, error) {
	if text[0] == '"' {
		return exactjson.String(text)
	}
	members, err := exactjson.Object(text)
	if err != nil {
		return "", err
	}
	keyName, err := exactjson.String(members["keyName"])
	if err != nil {
		return "", fmt.Errorf("keyName: %w", err)
	}
	sig, err := exactjson.String(members["sig"])
	if err != nil {
		return "", fmt.Errorf("sig: %w", err)
	}
	return keyName + ":" + sig, nil
}
