package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"pix/internal/exactjson"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A RegisterDrvOutputRequest tells which path an output has. Its ID needs the Path of the
// derivation with the feature [RealisationWithPath], else its Hash.
type RegisterDrvOutputRequest struct{ Realisation store.KeyedRealisation }

// A QueryRealisationRequest asks which path an output has. Its ID needs the Path of the
// derivation with the feature [RealisationWithPath], else its Hash.
type QueryRealisationRequest struct{ ID store.DrvOutput }

// A QueryRealisationReply answers it. Nil means that this is not known. With the feature
// [RealisationWithPath] it has no ID of its own: that of the request is meant.
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
	at := c.offset()
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
		c.fail("realisation", at, fmt.Errorf("%d instead of at most one", len(l)))
	}
}

// drvOutput codes what Nix calls DrvOutput: path and name with the feature, and before
// "sha256:<hex>!<name>".
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
		c.fail(field, -1, checkDrvHash(id))
	}
	text(c, field, id, store.DrvOutput.HashID, store.ParseHashID)
}

func checkDrvHash(id *store.DrvOutput) error {
	if id.Hash.IsZero() {
		return errors.New("the daemon wants the hash of the derivation")
	}
	return nil
}

// realisation codes what Nix calls UnkeyedRealisation.
func (c *codec) realisation(r *store.Realisation) {
	c.path("output path", &r.OutPath)
	c.stringSet("signatures", &r.Signatures)
}

// keyedRealisation codes what Nix calls Realisation.
func (c *codec) keyedRealisation(field string, r *store.KeyedRealisation) {
	if c.Features.Has(RealisationWithPath) {
		c.drvOutput(field, &r.ID)
		c.realisation(&r.Realisation)
		return
	}
	var s string
	if c.encoding() {
		text, err := r.JSON(c.Dir)
		c.fail(field, -1, err)
		s = string(text)
	}
	if c.trace != nil {
		c.drvOutput("output", &r.ID)
		c.realisation(&r.Realisation)
		return
	}
	at := c.offset()
	c.string(field, &s)
	if c.encoding() || c.err != nil {
		return
	}
	got, err := store.ParseRealisationJSON(c.Dir, s)
	*r = got
	c.fail(field, at, err)
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

// dummyDrvHash stands for the hash of a derivation where only name and path of an output
// are believed by anybody. Nix 2.36 sends it too.
const dummyDrvHash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// jsonOutputs codes the outputs of a build before the feature realisation-with-path: a
// map from "hash!name" to JSON. The hash, and all of the JSON but the path, cannot be
// believed.
func (c *codec) jsonOutputs(outputs *map[string]store.Realisation) {
	c.codeOutputs(outputs, func(e *entry[string, store.Realisation]) {
		if c.trace != nil {
			c.name("name", &e.key)
			c.path("output path", &e.value.OutPath)
			return
		}
		var id, text string
		if c.encoding() {
			id = dummyDrvHash + "!" + e.key
			b, err := printJSON(jsonOutput{id, e.value.OutPath.Base()})
			c.fail("output id", -1, checkUTF8(e.key))
			c.fail("built output", -1, err)
			_, err = c.Dir.Parse(string(e.value.OutPath))
			c.fail("built output", -1, err)
			text = string(b)
		}
		at := c.offset()
		c.name("output id", &id)
		c.string("built output", &text)
		if c.encoding() || c.err != nil {
			return
		}
		_, name, ok := strings.Cut(id, "!")
		if !ok {
			c.fail("output id", at, fmt.Errorf("%q has no '!'", id))
			return
		}
		c.fail("output id", at, checkUTF8(name))
		path, err := c.parseJSONOutput(text)
		e.key, e.value = name, store.Realisation{OutPath: path}
		c.fail("built output", at, err)
	})
}

// jsonOutput is what there is of a realisation whose hash cannot be believed.
type jsonOutput struct {
	ID      string `json:"id"`
	OutPath string `json:"outPath"` // a base name
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

func (c *codec) parseJSONOutput(text string) (storepath.Path, error) {
	members, err := exactjson.Object([]byte(text))
	if err != nil {
		return "", err
	}
	outPath, err := exactjson.String(members["outPath"])
	if err != nil {
		return "", fmt.Errorf("outPath: %w", err)
	}
	return c.Dir.ParseBase(outPath)
}
