package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// drvTexts are derivations by path, as a loader.
type drvTexts map[storepath.Path]string

func (d drvTexts) LoadDerivation(_ context.Context, path storepath.Path) (string, error) {
	text, ok := d[path]
	if !ok {
		return "", fmt.Errorf("no derivation '%s'", path)
	}
	return text, nil
}

// add adds a derivation.
func (d drvTexts) add(t *testing.T, drv *derivation.Derivation) explain.Drv {
	t.Helper()
	path, err := drv.Path()
	checkErr(t, err)
	d[path] = drv.String()
	return explain.Drv{Path: path, Derivation: drv, Inputs: d}
}

// explained returns the explanation of a derivation.
func explained(t *testing.T, d explain.Drv) *explain.Explanation {
	t.Helper()
	e, err := explain.Derivation(t.Context(), d, nil)
	checkErr(t, err)
	return e
}

// onlySteps returns the text of the steps from one number to another.
func onlySteps(e *explain.Explanation, first, last int) string {
	_, text, _ := strings.Cut(string(e.AppendText(nil, nil)), fmt.Sprintf("\n%d. ", first))
	text, _, _ = strings.Cut(text, fmt.Sprintf("\n%d. ", last+1))
	return fmt.Sprintf("%d. %s", first, text)
}

// changedFarewell returns the farewell to a greeting with another argument, and this greeting.
func changedFarewell(t *testing.T) (farewell, greeting *derivation.Derivation) {
	t.Helper()
	greeting, err := derivation.Parse(strings.ReplaceAll(greetingDrv(t), "hello from", "goodbye from"))
	checkErr(t, err)
	greeting.Name = "greeting"
	greeting.Outputs.Set("out", derivation.DeferredOutput())
	greeting.Env.Set("out", "")
	checkErr(t, greeting.FillOutputPaths(nil, nil))
	drvs := drvTexts{}
	path := drvs.add(t, greeting).Path

	farewell = &derivation.Derivation{
		Name: "farewell", Dir: storeDir, Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "echo after $greeting > $out"},
	}
	farewell.InputDerivations.Set(path, derivation.OutputsOf("out"))
	farewell.Env.Set("name", "farewell")
	farewell.Env.Set("out", "")
	farewell.Env.Set("greeting", outPath(greeting))
	farewell.Outputs.Set("out", derivation.DeferredOutput())
	inputs, err := derivation.LoadInputHashes(t.Context(), drvs, farewell)
	checkErr(t, err)
	checkErr(t, farewell.FillOutputPaths(inputs, nil))
	return farewell, greeting
}

func TestExplainPage(t *testing.T) {
	drvs := drvTexts{}
	greeting, err := derivation.Parse(greetingDrv(t))
	checkErr(t, err)
	greeting.Name = "greeting"
	first := drvs.add(t, greeting)
	d, _ := farewell(t)
	second := drvs.add(t, d)
	changedSecond, changedFirst := changedFarewell(t)
	otherFirst, otherSecond := drvs.add(t, changedFirst), drvs.add(t, changedSecond)

	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("hello world")))
	checkErr(t, err)
	flat, err := storeDir.FixedOutputPath("hello", ca, storepath.References{})
	checkErr(t, err)
	var contents bytes.Buffer
	checkErr(t, nar.WriteFile(&contents, strings.NewReader("hello world"), 11))
	file, err := explain.Path(&store.PathInfo{Path: flat, CA: ca}, &contents)
	checkErr(t, err)
	script, err := file.Script("")
	checkErr(t, err)
	_, commands, _ := strings.Cut(script.Text, "\n# 1. ")
	rebuild, err := explain.WhyRebuilt(t.Context(), second, otherSecond)
	checkErr(t, err)

	check(t, "explain.md", map[string]string{
		"modulo":      onlySteps(explained(t, second), 2, 6),
		"flat":        string(file.AppendText(nil, nil)),
		"commands":    "# 1. " + commands,
		"against":     string(explain.Compare(explained(t, first), explained(t, otherFirst)).AppendText(nil, nil)),
		"why-rebuilt": string(rebuild.AppendText(nil, nil)),
	})
}
