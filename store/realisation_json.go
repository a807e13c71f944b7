package store

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"pix/internal/exactjson"
	"pix/nixhash"
	"pix/storepath"
)

// Up to Nix 2.34 daemons and binary caches use this JSON form of realisations:
//
//	{"dependentRealisations":{},"id":"sha256:ba78…!out","outPath":"g1w7…-a","signatures":[]}
//
// Source: src/libstore/realisation.cc in Nix.

// HashID returns the ID of an output in Nix up to 2.34: "sha256:<hash in base 16>!<name>".
func (id DrvOutput) HashID() string { return id.Hash.WithBase16() + "!" + id.Output }

// ID returns the ID of an output for messages: its HashID, its PathID if the hash is unknown,
// or its name if the path is unknown, too.
func (id DrvOutput) ID() string {
	switch {
	case !id.Hash.IsZero():
		return id.HashID()
	case id.Path != "":
		return id.PathID()
	}
	return id.Output
}

// ParseHashID parses the result of [DrvOutput.HashID].
func ParseHashID(s string) (id DrvOutput, err error) {
	hash, name, ok := strings.Cut(s, "!")
	if !ok {
		return id, fmt.Errorf("the output id %q has no '!'", s)
	}
	id.Output = name
	id.Hash, err = nixhash.Parse(hash)
	return id, err
}

// realisationJSON is the JSON form of a realisation. Its path is a base name.
type realisationJSON struct {
	// Dependent are the dependencies of the realisation. Nix 2.34 ignores them, and so does
	// pix, but older versions require the member.
	Dependent  *struct{}       `json:"dependentRealisations,omitempty"`
	ID         string          `json:"id"`
	OutPath    string          `json:"outPath"`
	Signatures json.RawMessage `json:"signatures,omitempty"`
}

// JSON writes the realisation of an output of a store in dir in the form of Nix 2.34. Its Hash
// must be known.
func (r *KeyedRealisation) JSON(dir storepath.Dir) ([]byte, error) {
	if r.ID.Hash.IsZero() {
		return nil, errors.New("the hash of the derivation is unknown")
	}
	if _, err := dir.Parse(string(r.OutPath)); err != nil {
		return nil, err
	}
	for _, s := range append([]string{r.ID.Output}, r.Signatures...) {
		if err := checkUTF8(s); err != nil {
			return nil, err
		}
	}
	signatures, err := exactjson.Marshal(append([]string{}, asSet(r.Signatures)...))
	if err != nil {
		return nil, err
	}
	return exactjson.Marshal(realisationJSON{
		Dependent: new(struct{}), ID: r.ID.HashID(), OutPath: r.OutPath.Base(), Signatures: signatures,
	})
}

// checkUTF8 returns an error for a string that JSON cannot represent. Nix does the same.
func checkUTF8(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8", s)
	}
	return nil
}

// ParseRealisationJSON reads a realisation of a store in dir in the forms of Nix up to 2.34,
// and of some later versions. The names of members are case-sensitive, and a duplicate member
// is an error, since a signature may cover its value: see package exactjson.
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

// parseSignatures reads signatures as strings, which released versions write, or as objects
// with key name and signature, which some versions in between wrote.
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
	return asSet(signatures), nil
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

// From Nix 2.35 on, realisations are the entries of a build trace. They have the path of the derivation
// instead of its hash. Their JSON form is
//
//	{"key":{"drvPath":"g1w7…-a.drv","outputName":"out"},"value":{"outPath":"g1w7…-a","signatures":[]}}
//
// where a signature is {"keyName":"cache.example.org-1","sig":"…"}. Binary caches have only the value.
//
// Sources: src/libstore/realisation.cc and src/libutil/signature/local-keys.cc in Nix.

type (
	traceJSON struct {
		Key   traceKeyJSON   `json:"key"`
		Value traceValueJSON `json:"value"`
	}
	traceKeyJSON struct {
		DrvPath    string `json:"drvPath"` // a base name
		OutputName string `json:"outputName"`
	}
	traceValueJSON struct {
		OutPath    string          `json:"outPath"` // a base name
		Signatures []signatureJSON `json:"signatures"`
	}
	signatureJSON struct {
		KeyName string `json:"keyName"`
		Sig     string `json:"sig"`
	}
)

// PathID returns the ID of an output in Nix from 2.35 on: "<base name of the
// derivation>^<name>".
func (id DrvOutput) PathID() string { return id.Path.Base() + "^" + id.Output }

// TraceJSON writes the realisation of an output of a store in dir in the form of Nix from 2.35
// on. Its Path must be known.
func (r *KeyedRealisation) TraceJSON(dir storepath.Dir) ([]byte, error) {
	if _, err := dir.Parse(string(r.ID.Path)); err != nil {
		return nil, err
	}
	if err := checkUTF8(r.ID.Output); err != nil {
		return nil, err
	}
	value, err := r.traceValue(dir)
	if err != nil {
		return nil, err
	}
	return exactjson.Marshal(traceJSON{traceKeyJSON{r.ID.Path.Base(), r.ID.Output}, *value})
}

// ValueJSON writes the realisation without its output, in the form of binary caches of Nix from
// 2.35 on.
func (r *Realisation) ValueJSON(dir storepath.Dir) ([]byte, error) {
	value, err := r.traceValue(dir)
	if err != nil {
		return nil, err
	}
	return exactjson.Marshal(value)
}

func (r *Realisation) traceValue(dir storepath.Dir) (*traceValueJSON, error) {
	if _, err := dir.Parse(string(r.OutPath)); err != nil {
		return nil, err
	}
	value := &traceValueJSON{OutPath: r.OutPath.Base(), Signatures: []signatureJSON{}}
	for _, s := range r.Signatures {
		name, sig, ok := strings.Cut(s, ":")
		if !ok || checkUTF8(s) != nil {
			return nil, fmt.Errorf("the signature %q has no key name and signature", s)
		}
		value.Signatures = append(value.Signatures, signatureJSON{name, sig})
	}
	slices.SortFunc(value.Signatures, compareSignatures)
	value.Signatures = slices.Compact(value.Signatures)
	return value, nil
}

// compareSignatures orders signatures like Nix, by key name and by the bytes of the signature.
func compareSignatures(a, b signatureJSON) int {
	bytesOf := func(s signatureJSON) []byte {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			return []byte(s.Sig)
		}
		return sig
	}
	return cmp.Or(strings.Compare(a.KeyName, b.KeyName), bytes.Compare(bytesOf(a), bytesOf(b)))
}

// ParseTraceJSON reads a realisation of a store in dir in the form of Nix from 2.35 on. Names
// of members are case-sensitive, as in [ParseRealisationJSON].
func ParseTraceJSON(dir storepath.Dir, text string) (r KeyedRealisation, err error) {
	members, err := exactjson.Object([]byte(text))
	if err != nil {
		return r, err
	}
	key, err := exactjson.Object(members["key"])
	if err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	if r.ID.Path, err = parseBase(dir, key, "drvPath"); err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	if r.ID.Output, err = exactjson.String(key["outputName"]); err == nil {
		err = storepath.CheckName(r.ID.Output)
	}
	if err != nil {
		return r, fmt.Errorf("key: outputName: %w", err)
	}
	if r.Realisation, err = parseValue(dir, members["value"]); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	return r, nil
}

// ParseValueJSON reads the output of [Realisation.ValueJSON].
func ParseValueJSON(dir storepath.Dir, text string) (Realisation, error) {
	return parseValue(dir, json.RawMessage(text))
}

func parseValue(dir storepath.Dir, text json.RawMessage) (r Realisation, err error) {
	members, err := exactjson.Object(text)
	if err != nil {
		return r, err
	}
	if r.OutPath, err = parseBase(dir, members, "outPath"); err != nil {
		return r, err
	}
	r.Signatures, err = parseSignatures(members["signatures"])
	return r, err
}

// parseBase reads a member that is the base name of a store path.
func parseBase(dir storepath.Dir, members map[string]json.RawMessage, name string) (storepath.Path, error) {
	base, err := exactjson.String(members[name])
	if err == nil {
		var path storepath.Path
		if path, err = dir.ParseBase(base); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, err)
}
