package localstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"pix/localstore"
	"pix/storepath"
)

// Adding a text creates a file in the store directory and registers its path.
func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)
	s, err := localstore.Open(ctx, &localstore.Options{Root: root})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	hello, err := s.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	greeting, err := s.AddTextToStore(ctx, "greeting", "cat "+string(hello)+"\n", []storepath.Path{hello})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(filepath.Join(root, string(hello)))
	fmt.Printf("%s: %q, %v\n", hello, text, err)
	referrers, err := s.QueryReferrers(ctx, hello)
	fmt.Println(referrers[0] == greeting, err)
	info, err := s.QueryPathInfo(ctx, hello)
	fmt.Println(info.NARSize, info.CA, err)
	// Output:
	// /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt: "hello world", <nil>
	// true <nil>
	// 128 text:sha256:1sfdxziarxw8j3p80lvswgpq9i7smdyxmmsj5sjhhgjdjfwjfkdr <nil>
}
