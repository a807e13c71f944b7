package protocol

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A filler generates values that can be sent, according to their types.
type filler struct{ *rand.Rand }

func newFiller(seed uint64) filler { return filler{rand.New(rand.NewPCG(seed, 0))} }

var testDir = storepath.DefaultDir

func (f filler) path(ext string) storepath.Path {
	p, err := testDir.TextPath(fmt.Sprintf("name-%d%s", f.IntN(100), ext), f.hash(), nil)
	if err != nil {
		panic(err)
	}
	return p
}

func (f filler) hash() nixhash.Hash {
	return nixhash.Sum(nixhash.SHA256, []byte{byte(f.IntN(256)), byte(f.IntN(256))})
}

func (f filler) text() string {
	return []string{"", "a", "eight888", "two\nlines", "\x00\xff é", "key-1:AAAA=="}[f.IntN(6)]
}

func (f filler) name() string { return fmt.Sprintf("out%d", f.IntN(5)) }

func (f filler) ca() storepath.ContentAddress {
	ca, err := storepath.NewContentAddress([]storepath.Method{storepath.Text, storepath.Flat, storepath.NAR}[f.IntN(3)], f.hash())
	if err != nil {
		panic(err)
	}
	return ca
}

func (f filler) singleDerivedPath() derivation.SingleDerivedPath {
	var p derivation.SingleDerivedPath = derivation.Opaque{Path: f.path(".drv")}
	for range f.IntN(3) {
		p = derivation.SingleBuilt{Drv: p, Output: f.name()}
	}
	return p
}

func (f filler) derivedPath() derivation.DerivedPath {
	switch f.IntN(4) {
	case 0:
		return derivation.Opaque{Path: f.path("")}
	case 1:
		return derivation.Built{Drv: derivation.Opaque{Path: f.path(".drv")}, Outputs: derivation.AllOutputs()}
	case 2:
		return derivation.Built{Drv: derivation.Opaque{Path: f.path(".drv")}, Outputs: derivation.NamedOutputs(f.name(), "dev")}
	}
	return derivation.Built{Drv: f.singleDerivedPath(), Outputs: derivation.NamedOutputs(f.name())}
}

func (f filler) derivation(name string) *derivation.Derivation {
	d := &derivation.Derivation{
		Name: name, Dir: testDir, Platform: "x86_64-linux", Builder: "/bin/sh",
		InputSources: derivation.SetOf(f.path(""), f.path("")),
		Args:         []string{"-c", f.text()},
		Env:          derivation.MapOf(derivation.Entry[string, string]{Key: "k", Value: f.text()}, derivation.Entry[string, string]{Key: "__json", Value: "{}"}),
	}
	switch f.IntN(5) {
	case 0:
		path, err := testDir.FixedOutputPath(name, f.fixedCA(), storepath.References{})
		if err != nil {
			panic(err)
		}
		d.Outputs.Set("out", derivation.FixedOutput(f.fixedCA(), path))
	case 1:
		d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
		d.Outputs.Set("dev", derivation.FloatingOutput(storepath.Flat, nixhash.SHA512))
	case 2:
		d.Outputs.Set("out", derivation.DeferredOutput())
	case 3:
		d.Outputs.Set("out", derivation.ImpureOutput(storepath.NAR, nixhash.SHA256))
	case 4:
		d.Outputs.Set("out", derivation.InputAddressedOutput(f.path("")))
	}
	return d
}

// fixedCA always returns the same address, so that its path can be computed again.
func (f filler) fixedCA() storepath.ContentAddress {
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, nil))
	if err != nil {
		panic(err)
	}
	return ca
}

// fill sets all fields of the value that v points to.
func (f filler) fill(v any) {
	f.fillValue(reflect.ValueOf(v).Elem())
	switch v := v.(type) { // fields that are not sent, or that cannot have every value
	case *BuildDerivationRequest:
		v.Path = f.path(".drv")
		v.Derivation = f.derivation(v.Path.Name()[:len(v.Path.Name())-len(".drv")])
	case *QueryPathInfoReply:
		if v.Info != nil {
			v.Info.Path = ""
		}
	case *QuerySubstitutablePathInfoReply:
		if v.Info != nil {
			v.Info.Path = ""
		}
	case *RegisterDrvOutputRequest:
		v.Realisation.ID.Output = f.name() // JSON is UTF-8
		v.Realisation.Signatures = []string{"a:AAAA", "b:BBBB"}
	case *QueryRealisationReply:
		if v.Realisation != nil {
			v.Realisation.ID.Output, v.Realisation.Signatures = f.name(), nil
		}
	case *CollectGarbageRequest:
		switch v.Action {
		case store.GCDeleteSpecific:
			v.Paths = asSet([]storepath.Path{f.path(""), f.path("")})
		default:
			v.DeleteReferrers = v.DeleteReferrers && v.Paths != nil
		}
	case *Message:
		f.fillMessage(v)
	}
}

var messageKinds = []MessageKind{MessageLast, MessageError, MessageRead, MessageWrite, MessageLog, MessageStart, MessageStop, MessageEvent}

func (f filler) fillMessage(m *Message) {
	kind := messageKinds[f.IntN(len(messageKinds))]
	filled := *m
	*m = Message{Kind: kind}
	switch kind {
	case MessageError:
		m.Err = new(activity.Error)
		f.fillValue(reflect.ValueOf(m.Err).Elem())
		m.Err.Status = 0
	case MessageRead:
		m.Want = filled.Want
	case MessageWrite:
		m.Data = []byte(f.text())
	case MessageLog:
		m.Event = activity.Log{Text: "a line"}
	case MessageStart:
		m.Event = activity.Start{ID: 1, Level: activity.LevelInfo, Type: activity.Build, Text: f.text(), Fields: []activity.Field{activity.Number(7), activity.Text(f.text())}, Parent: 3}
	case MessageStop:
		m.Event = activity.Stop{ID: 1}
	case MessageEvent:
		m.Event = activity.Result{ID: 1, Type: activity.Progress, Fields: []activity.Field{activity.Number(math.MaxUint64)}}
	}
}

// limits are the largest valid values of number types.
var limits = map[reflect.Type]uint64{
	reflect.TypeFor[store.BuildMode]():    uint64(store.BuildCheck),
	reflect.TypeFor[store.BuildStatus]():  uint64(store.NoSubstituters),
	reflect.TypeFor[store.GCAction]():     uint64(store.GCDeleteSpecific),
	reflect.TypeFor[activity.Verbosity](): uint64(activity.LevelVomit),
}

func (f filler) fillValue(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *storepath.Path:
		*p = f.path("")
		return
	case *[]storepath.Path:
		for range f.IntN(4) {
			*p = append(*p, f.path(""))
		}
		*p = asSet(*p)
		return
	case *[]string:
		for range f.IntN(4) {
			*p = append(*p, fmt.Sprintf("s%d", f.IntN(100)))
		}
		*p = asSet(*p)
		return
	case *nixhash.Hash:
		*p = f.hash()
		return
	case *nixhash.Algorithm:
		*p = nixhash.SHA256
		return
	case *storepath.Method:
		*p = []storepath.Method{storepath.Text, storepath.Flat, storepath.NAR}[f.IntN(3)]
		return
	case *storepath.ContentAddress:
		if *p = (storepath.ContentAddress{}); f.IntN(2) == 0 {
			*p = f.ca()
		}
		return
	case *time.Time:
		*p = time.Unix(int64(f.IntN(1<<31)+1), 0).UTC()
		return
	case **time.Duration:
		if f.IntN(2) == 0 {
			d := time.Duration(f.IntN(1e6)) * time.Microsecond
			*p = &d
		}
		return
	case *derivation.DerivedPath:
		*p = f.derivedPath()
		return
	case *derivation.SingleDerivedPath:
		*p = f.singleDerivedPath()
		return
	case **derivation.Derivation, *activity.Event, **activity.Error, *MessageKind:
		return // the callers set them
	}
	f.fillKind(v)
}

func (f filler) fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		n := uint64(f.Uint32()) // a value that every number can have
		if limit, ok := limits[v.Type()]; ok {
			n %= limit + 1
		}
		v.SetUint(n)
	case reflect.String:
		v.SetString(f.text())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fillValue(v.Field(i))
			}
		}
	case reflect.Pointer:
		if f.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fillValue(v.Elem())
		}
	case reflect.Slice:
		for range f.IntN(4) {
			e := reflect.New(v.Type().Elem()).Elem()
			f.fillValue(e)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		n := f.IntN(4)
		v.Set(reflect.MakeMap(v.Type()))
		for range n {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			if f.fillValue(key); key.Type().Name() == "string" {
				key.SetString(f.name())
			}
			f.fillValue(value)
			v.SetMapIndex(key, value)
		}
	default:
		panic("nothing fills a " + v.Type().String())
	}
}

// allParams returns every version with every set of features that it can have.
func allParams() (all []Params) {
	for v := MinVersion; v <= MaxVersion; v++ {
		all = append(all, Params{Version: v, Dir: testDir})
	}
	for f := Features(1); f < 1<<numFeatures; f++ {
		all = append(all, Params{Version: MaxVersion, Features: f, Dir: testDir})
	}
	return slices.Clip(all)
}
