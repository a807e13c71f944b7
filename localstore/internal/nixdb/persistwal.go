package nixdb

import (
	"errors"
	"reflect"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"
)

// persistWAL makes SQLite keep the write-ahead log and its index when the last connection to the database is closed.
// The log is then empty. A user who may not create files beside the database can read it only if these files exist, so
// Nix keeps them too.
//
// The driver does not export sqlite3_file_control, so persistWAL reads its handles from private fields by name. If a
// later version of the driver renames the fields, persistWAL returns an error.
func persistWAL(c *sqlite.Conn) error {
	fields := reflect.ValueOf(c).Elem()
	tls, handle := fields.FieldByName("tls"), fields.FieldByName("conn")
	if !tls.IsValid() || tls.Type() != reflect.TypeFor[*libc.TLS]() || !handle.IsValid() || handle.Kind() != reflect.Uintptr {
		return errors.New("this version of the SQLite driver does not give access to sqlite3_file_control")
	}
	t := (*libc.TLS)(tls.UnsafePointer())
	enable := t.Alloc(4)
	defer t.Free(4)
	libc.AtomicStoreNInt32(enable, 1, 0)
	return sqlite.ResultCode(lib.Xsqlite3_file_control(t, uintptr(handle.Uint()), 0, lib.SQLITE_FCNTL_PERSIST_WAL, enable)).ToError()
}
