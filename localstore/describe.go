package localstore

import (
	"pix/localstore/internal/nixdb"
	"pix/storepath"
)

// An Info says where the parts of a store are.
type Info struct {
	Dir      storepath.Dir // that paths name
	StoreDir string        // where the objects are
	StateDir string        // where the database is, and what keeps paths from being collected
	LogDir   string        // where build logs are
	Schema   int           // of the database
	Writable bool          // whether this user may write to the database
}

// Info says where the parts of the store are.
func (s *Store) Info() Info { return s.info() }

func (s *shared) info() Info {
	return Info{s.dir, s.storeName, s.stateDir, s.logDir, nixdb.SchemaVersion, isWritable(s.databaseFile())}
}
