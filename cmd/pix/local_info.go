package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"pix/internal/redact"
	"pix/localstore"
	"pix/store"
)

// chosenJSON is the part of the output of daemon-info that every kind of store has.
type chosenJSON struct {
	Store  string  `json:"store"`  // its URI
	Reason *string `json:"reason"` // why this store was chosen; null if the user named it
}

func (c *storeChoice) json() chosenJSON { return chosenJSON{redact.URL(c.uri), orNull(c.reason)} }

func (c chosenJSON) text() string {
	reason := "it was named"
	if c.Reason != nil {
		reason = *c.Reason
	}
	return fmt.Sprintf("store: %s\nreason: %s\n", c.Store, reason)
}

// localInfoJSON is the output of daemon-info for a store in a directory.
type localInfoJSON struct {
	chosenJSON
	StoreDir string `json:"storeDir"`
	Objects  string `json:"objectDir"` // the directory on this machine that holds the objects of StoreDir
	StateDir string `json:"stateDir"`
	LogDir   string `json:"logDir"`
	Schema   *int   `json:"schema"` // of the database; null if the store does not exist yet
	ReadOnly bool   `json:"readOnly"`
}

// printLocalInfo prints where the parts of a store in a directory are. The store may not exist yet.
func (a *app) printLocalInfo(c *storeChoice, i localstore.Info, exists, asJSON bool) error {
	info := localInfoJSON{c.json(), string(i.Dir), i.StoreDir, i.StateDir, i.LogDir, nil, c.isReadOnly()}
	schema := "none, since nothing was added yet"
	if exists {
		info.Schema, schema = &i.Schema, strconv.Itoa(i.Schema)
		info.ReadOnly = info.ReadOnly || !i.Writable
	}
	text := info.text() + fmt.Sprintf("store-dir: %s\nobject-dir: %s\nstate-dir: %s\nlog-dir: %s\nschema: %s\nread-only: %t\n",
		info.StoreDir, info.Objects, info.StateDir, info.LogDir, schema, info.ReadOnly)
	return a.printEither(text, info, asJSON)
}

// isReadOnly reports whether the URI has the parameter read-only=true.
func (c *storeChoice) isReadOnly() bool {
	_, query, _ := strings.Cut(c.uri, "?")
	values, _ := url.ParseQuery(query) // opening the store has parsed the URI without an error
	return slices.Contains([]string{"true", "yes", "1"}, values.Get("read-only"))
}

// printOtherInfo prints the URI and the store directory of any other store, such as a binary cache.
func (a *app) printOtherInfo(c *storeChoice, s store.Store, asJSON bool) error {
	info := struct {
		chosenJSON
		StoreDir string `json:"storeDir"`
	}{c.json(), string(s.Dir())}
	return a.printEither(info.text()+fmt.Sprintf("store-dir: %s\n", info.StoreDir), info, asJSON)
}
