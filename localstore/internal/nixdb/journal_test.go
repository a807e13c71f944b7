package nixdb

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

// A process that uses a write-ahead log opens a database while another process, which uses none, has written a part of
// a transaction. It waits for the end of that transaction and does not undo it.
func TestOpenDuringTransactionWithoutWAL(t *testing.T) {
	const child, rows = "NIXDB_TEST_TRANSACTION", 2000
	if file := os.Getenv(child); file != "" {
		writeSlowly(t, file)
		return
	}
	file := filepath.Join(t.TempDir(), "db.sqlite")
	d, err := Open(t.Context(), file, &Options{Create: true, NoWAL: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Write(t.Context(), func(c *Conn) error {
		return c.Exec("with recursive n(i) as (select 1 union all select i+1 from n where i < ?)"+
			" insert into ValidPaths (path, hash, registrationTime) select 'p' || i, ?, 0 from n", int64(rows), strings.Repeat("h", 500))
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if d, err = Open(t.Context(), file, &Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Read(t.Context(), func(c *Conn) error {
		return c.Query("select count(deriver) from ValidPaths", func(row *sqlite.Stmt) error {
			if n := row.ColumnInt64(0); n != rows {
				t.Errorf("%d of %d rows have changed", n, rows)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// writeSlowly writes a part of a transaction, reports that, and commits a while later.
func writeSlowly(t *testing.T, file string) {
	d, err := Open(t.Context(), file, &Options{NoWAL: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Write(t.Context(), func(c *Conn) error {
		if err := c.Exec("pragma cache_size = 5"); err != nil {
			return err
		}
		if err := c.Exec("update ValidPaths set deriver = ?", strings.Repeat("d", 200)); err != nil {
			return err
		}
		os.Stdout.WriteString("begun\n")
		time.Sleep(300 * time.Millisecond)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
