package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

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

// realisationJSON is the form in JSON. Its path is a base name.
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
// some later ones, write it.
func ParseRealisationJSON(dir storepath.Dir, text string) (r KeyedRealisation, err error) {
	if err := checkUTF8(text); err != nil {
		return r, err
	}
	var j realisationJSON
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return r, noEOF(err)
	}
	if r.ID, err = ParseHashID(j.ID); err != nil {
		return r, err
	}
	if r.OutPath, err = dir.ParseBase(j.OutPath); err != nil {
		return r, err
	}
	r.Signatures, err = parseSignatures(j.Signatures)
	return r, err
}

// parseSignatures reads signatures as strings, which released versions write, and as
// objects of key name and signature, which some between them wrote.
func parseSignatures(text json.RawMessage) ([]string, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return nil, err
	}
	var signatures []string
	for _, element := range elements {
		var s string
		if json.Unmarshal(element, &s) != nil {
			var object struct{ KeyName, Sig string }
			if err := json.Unmarshal(element, &object); err != nil {
				return nil, err
			}
			s = object.KeyName + ":" + object.Sig
		}
		signatures = append(signatures, s)
	}
	return sortedOnce(signatures), nil
}

// noEOF keeps a truncated JSON text from looking like a truncated stream.
func noEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New(err.Error())
	}
	return err
}
