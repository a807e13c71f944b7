package main

import (
	"fmt"

	"pix/localstore"
)

// localInfo is what daemon-info prints of a store that is opened without a daemon.
type localInfo struct {
	Store    string  `json:"store"`  // its URI
	Reason   *string `json:"reason"` // why it is that one; null if it was named
	StoreDir string  `json:"storeDir"`
	Objects  string  `json:"objectDir"` // where what is in StoreDir is
	StateDir string  `json:"stateDir"`
	LogDir   string  `json:"logDir"`
	Schema   int     `json:"schema"` // of the database
	ReadOnly bool    `json:"readOnly"`
}

func (a *app) localInfo(s *localstore.Store, asJSON bool) error {
	i := s.Info()
	info := localInfo{a.resolved, orNull(a.reason), string(i.Dir), i.StoreDir, i.StateDir, i.LogDir, i.Schema, i.ReadOnly}
	if asJSON {
		text, err := marshalJSON(info)
		if err != nil {
			return err
		}
		return a.print(text)
	}
	reason := "it was named"
	if info.Reason != nil {
		reason = *info.Reason
	}
	return a.print(fmt.Sprintf("store: %s\nreason: %s\nstore-dir: %s\nobject-dir: %s\nstate-dir: %s\nlog-dir: %s\nschema: %d\nread-only: %t\n",
		info.Store, reason, info.StoreDir, info.Objects, info.StateDir, info.LogDir, info.Schema, info.ReadOnly))
}
