package store

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pix/internal/exactjson"
	"pix/storepath"
)

// From Nix 2.35 on, realisations are the entries of a build trace, with the path of the derivation in
// place of its hash. Their form in JSON is
//
//	{"key":{"drvPath":"g1w7…-a.drv","outputName":"out"},"value":{"outPath":"g1w7…-a","signatures":[]}}
//
// where a signature is {"keyName":"cache.example.org-1","sig":"…"}. Binary caches have the value alone.
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

// PathID returns how Nix from 2.35 on names an output: "<base name of the derivation>^<name>".
func (id DrvOutput) PathID() string { return id.Path.Base() + "^" + id.Output }

// TraceJSON writes the realisation of an output of a store in dir, whose Path must be known, as Nix from
// 2.35 on does.
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
	return printJSON(traceJSON{traceKeyJSON{r.ID.Path.Base(), r.ID.Output}, *value})
}

// ValueJSON writes the realisation without the name of its output, as binary caches of Nix from 2.35 on have
// it.
func (r *Realisation) ValueJSON(dir storepath.Dir) ([]byte, error) {
	value, err := r.traceValue(dir)
	if err != nil {
		return nil, err
	}
	return printJSON(value)
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

// compareSignatures orders signatures as Nix does, by key name and by the bytes of the signature.
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

// ParseTraceJSON reads a realisation of a store in dir as Nix from 2.35 on writes it. Names of members are
// exact, as in [ParseRealisationJSON].
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

// ParseValueJSON reads what [Realisation.ValueJSON] writes.
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
