package main

import (
	"pix/derivation"
	"pix/storepath"
)

// The output of drv-diff --json.
type (
	drvDocumentJSON struct {
		Equal       bool                `json:"equal"`
		Because     []string            `json:"because"`
		Comparisons []drvComparisonJSON `json:"comparisons"`
	}
	drvComparisonJSON struct {
		A       storepath.Path  `json:"a"`
		B       storepath.Path  `json:"b"`
		Changes []drvChangeJSON `json:"changes"`
		Inputs  []drvInputJSON  `json:"inputs"`
	}
	drvChangeJSON struct {
		Field      string      `json:"field"`
		Key        string      `json:"key"`
		A          *string     `json:"a"`
		B          *string     `json:"b"`
		HashesOnly bool        `json:"hashesOnly"`
		Follows    bool        `json:"consequence"`
		Edits      [][2]string `json:"edits"`
	}
	drvInputJSON struct {
		Name     string      `json:"name"`
		A        *drvUseJSON `json:"a"`
		B        *drvUseJSON `json:"b"`
		Compared bool        `json:"compared"`
		Error    *string     `json:"error"`
	}
	drvUseJSON struct {
		Path    storepath.Path `json:"path"`
		Outputs []string       `json:"outputs"`
	}
)

// drvDiffJSON returns all comparisons in breadth-first order.
func drvDiffJSON(root *derivation.Difference) (string, error) {
	document := drvDocumentJSON{Equal: root.IsEmpty(), Because: []string{}}
	for _, c := range root.Causes() {
		document.Because = append(document.Because, c.String())
	}
	seen := map[*derivation.Difference]bool{root: true}
	for todo := []*derivation.Difference{root}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		document.Comparisons = append(document.Comparisons, newDrvComparisonJSON(d))
		for _, in := range d.Inputs {
			if in.Difference != nil && !seen[in.Difference] {
				seen[in.Difference] = true
				todo = append(todo, in.Difference)
			}
		}
	}
	return marshalJSON(document)
}

func newDrvComparisonJSON(d *derivation.Difference) drvComparisonJSON {
	c := drvComparisonJSON{A: d.A, B: d.B, Changes: []drvChangeJSON{}, Inputs: []drvInputJSON{}}
	for i := range d.Changes {
		c.Changes = append(c.Changes, newDrvChangeJSON(&d.Changes[i]))
	}
	for _, in := range d.Inputs {
		j := drvInputJSON{Name: in.Name, A: newDrvUseJSON(in.A, in.OutputsA), B: newDrvUseJSON(in.B, in.OutputsB), Compared: in.Difference != nil}
		if in.Err != nil {
			message := in.Err.Error()
			j.Error = &message
		}
		c.Inputs = append(c.Inputs, j)
	}
	return c
}

func newDrvChangeJSON(c *derivation.Change) drvChangeJSON {
	j := drvChangeJSON{Field: c.Field.String(), Key: c.Key, HashesOnly: c.HashesOnly, Follows: c.Consequence, Edits: [][2]string{}}
	if c.InA {
		j.A = &c.A
	}
	if c.InB {
		j.B = &c.B
	}
	for _, e := range c.Edits() {
		j.Edits = append(j.Edits, [2]string{e.Kind.String(), e.Text})
	}
	return j
}

func newDrvUseJSON(path storepath.Path, used derivation.InputOutputs) *drvUseJSON {
	if path == "" {
		return nil
	}
	return &drvUseJSON{path, usedOutputs(used)}
}
