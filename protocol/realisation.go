package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"pix/nixhash"
	"pix/store"
)

// A RegisterDrvOutputRequest registers the path of an output. With the feature
// [RealisationWithPath] its ID needs the Path of the derivation, otherwise its Hash.
type RegisterDrvOutputRequest struct{ Realisation store.KeyedRealisation }

// A QueryRealisationRequest asks for the path of an output. With the feature
// [RealisationWithPath] its ID needs the Path of the derivation, otherwise its Hash.
type QueryRealisationRequest struct{ ID store.DrvOutput }

// A QueryRealisationReply holds the realisation, or nil if it is unknown. With the feature
// [RealisationWithPath] its ID is not sent: it is the ID of the request.
type QueryRealisationReply struct{ Realisation *store.KeyedRealisation }

func (*RegisterDrvOutputRequest) Op() Op { return RegisterDrvOutput }
func (r *RegisterDrvOutputRequest) code(c *codec) {
	c.keyedRealisation("realisation", &r.Realisation)
}

func (*QueryRealisationRequest) Op() Op          { return QueryRealisation }
func (r *QueryRealisationRequest) code(c *codec) { c.drvOutput("output", &r.ID) }

func (r *QueryRealisationReply) code(c *codec) {
	if !c.Features.Has(RealisationWithPath) {
		r.codeOld(c)
		return
	}
	have := r.Realisation != nil
	c.optional("realisation", &have)
	if !c.encoding() {
		r.Realisation = nil
		if have && c.err == nil {
			r.Realisation = new(store.KeyedRealisation)
		}
	}
	if r.Realisation != nil {
		c.realisation(&r.Realisation.Realisation)
	}
}

// codeOld codes a set of at most one realisation.
func (r *QueryRealisationReply) codeOld(c *codec) {
	var l []store.KeyedRealisation
	if r.Realisation != nil {
		l = append(l, *r.Realisation)
	}
	at := c.form.offset()
	list(c, "realisation", &l, func(r *store.KeyedRealisation) { c.keyedRealisation("realisation", r) })
	if c.encoding() {
		return
	}
	r.Realisation = nil
	switch len(l) {
	case 0:
	case 1:
		r.Realisation = &l[0]
	default:
		c.failAt("realisation", at, fmt.Errorf("%d instead of at most one", len(l)))
	}
}

// drvOutput codes Nix's DrvOutput: with the feature the path of the derivation and the name of
// the output, without it "sha256:<hex>!<name>".
func (c *codec) drvOutput(field string, id *store.DrvOutput) {
	if c.Features.Has(RealisationWithPath) {
		if !c.encoding() {
			id.Hash = nixhash.Hash{}
		}
		c.path("derivation", &id.Path)
		c.name("output", &id.Output)
		return
	}
	if c.encoding() {
		c.fail(field, checkDrvHash(id))
	}
	text(c, field, id, store.DrvOutput.HashID, store.ParseHashID)
}

func checkDrvHash(id *store.DrvOutput) error {
	if id.Hash.IsZero() {
		return errors.New("the daemon needs the hash of the derivation")
	}
	return nil
}

// realisation codes Nix's UnkeyedRealisation.
func (c *codec) realisation(r *store.Realisation) {
	c.path("output path", &r.OutPath)
	c.stringSet("signatures", &r.Signatures)
}

// keyedRealisation codes Nix's Realisation. Without the feature it is a JSON text on the wire.
func (c *codec) keyedRealisation(field string, r *store.KeyedRealisation) {
	if c.Features.Has(RealisationWithPath) {
		c.drvOutput(field, &r.ID)
		c.realisation(&r.Realisation)
		return
	}
	var s string
	if c.encoding() {
		text, err := r.JSON(c.Dir)
		c.fail(field, err)
		s = string(text)
	}
	if c.form.isText() {
		c.drvOutput("output", &r.ID)
		c.realisation(&r.Realisation)
		return
	}
	c.string(field, &s)
	if c.encoding() || c.err != nil {
		return
	}
	got, err := store.ParseRealisationJSON(c.Dir, s)
	assign(c, field, r, got, err)
}

// codeOutputs codes the outputs of a build, with their names.
func (c *codec) codeOutputs(outputs *map[string]store.Realisation, element func(*entry[string, store.Realisation])) {
	mapping(c, "built outputs", outputs, element)
	if !c.encoding() && len(*outputs) == 0 {
		*outputs = nil
	}
}

func (c *codec) outputs(outputs *map[string]store.Realisation) {
	c.codeOutputs(outputs, func(e *entry[string, store.Realisation]) {
		c.name("name", &e.key)
		c.realisation(&e.value)
	})
}

// dummyDrvHash replaces an unknown hash of a derivation. Nix from 2.35 on writes it, and reads
// only the name and the path of an output that has it.
var dummyDrvHash = nixhash.SHA256Hash([32]byte{})

// jsonOutputs codes the outputs of a build without the feature realisation-with-path: a map
// from "hash!name" to a realisation in JSON. The hash must be correct: build-remote of Nix up
// to 2.34 registers the realisations as it receives them.
func (c *codec) jsonOutputs(r *store.BuildResult) {
	if !c.encoding() {
		r.DrvHash = nixhash.Hash{}
	}
	c.codeOutputs(&r.Outputs, func(e *entry[string, store.Realisation]) {
		switch {
		case c.form.isText():
			c.traceOutput(r, e)
		case c.encoding():
			c.writeJSONOutput(r.DrvHash, e)
		default:
			c.readJSONOutput(r, e)
		}
	})
}

// writeJSONOutput writes an output. If the hash is unknown, it writes the form of Nix 2.35.
func (c *codec) writeJSONOutput(hash nixhash.Hash, e *entry[string, store.Realisation]) {
	keyed := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Output: e.key}, Realisation: e.value}
	known := !hash.IsZero()
	if !known {
		keyed.ID.Hash = dummyDrvHash
	}
	text, err := keyed.JSON(c.Dir) // also validates the fields of the short form
	if err == nil && !known {
		text, err = printJSON(shortOutput{keyed.ID.HashID(), e.value.OutPath.Base()})
	}
	c.fail("built output", err)
	id, s := keyed.ID.HashID(), string(text)
	c.name("output id", &id)
	c.string("built output", &s)
}

// readJSONOutput reads an output and, unless it is the dummy, the hash of the derivation.
func (c *codec) readJSONOutput(r *store.BuildResult, e *entry[string, store.Realisation]) {
	var name, text string
	at := c.form.offset()
	c.name("output id", &name)
	c.string("built output", &text)
	if c.err != nil {
		return
	}
	id, err := store.ParseHashID(name)
	c.failAt("output id", at, err)
	got, err := store.ParseRealisationJSON(c.Dir, text)
	if err == nil && got.ID != id {
		err = fmt.Errorf("it names the output '%s' and not '%s'", got.ID.HashID(), name)
	}
	c.failAt("built output", at, err)
	e.key, e.value = id.Output, got.Realisation
	c.setDrvHash(r, id.Hash, at)
}

// setDrvHash stores the hash of the derivation of an output. All outputs must have the same.
func (c *codec) setDrvHash(r *store.BuildResult, hash nixhash.Hash, at int64) {
	switch {
	case c.err != nil || hash == dummyDrvHash:
	case r.DrvHash.IsZero():
		r.DrvHash = hash
	case r.DrvHash != hash:
		c.failAt("output id", at, errors.New("two outputs have the hashes of different derivations"))
	}
}

// traceOutput codes an output in a trace. If the hash is unknown, it consists of name and path.
func (c *codec) traceOutput(r *store.BuildResult, e *entry[string, store.Realisation]) {
	id := store.DrvOutput{Hash: r.DrvHash, Output: e.key}
	name := e.key
	if c.encoding() && !id.Hash.IsZero() {
		name = id.HashID()
	}
	c.name("name", &name)
	if !strings.Contains(name, "!") {
		c.path("output path", &e.value.OutPath)
		e.key = name
		return
	}
	if !c.encoding() {
		var err error
		id, err = store.ParseHashID(name)
		c.fail("name", err)
		e.key = id.Output
		c.setDrvHash(r, id.Hash, -1)
	}
	c.realisation(&e.value)
}

// A shortOutput is the JSON of an output without the hash of its derivation.
type shortOutput struct {
	ID      string `json:"id"`
	OutPath string `json:"outPath"` // a base name
}

// printJSON encodes a value like Nix, without escapes for HTML.
func printJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
