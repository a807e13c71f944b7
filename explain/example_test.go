package explain_test

import (
	"fmt"
	"log"

	"pix/explain"
	"pix/store"
	"pix/storepath"
)

func ExamplePath() {
	ca, err := storepath.ParseContentAddress("fixed:sha256:1sfdxziarxw8j3p80lvswgpq9i7smdyxmmsj5sjhhgjdjfwjfkdr")
	if err != nil {
		log.Fatal(err)
	}
	e, err := explain.Path(&store.PathInfo{Path: "/nix/store/932qd371cw0gg3rycs2k64hm6h6h7syl-hello", CA: ca}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range e.Steps[1:] {
		fmt.Printf("%s of %s\n= %s\n", step.Op, step.Text, step.Result)
	}
	// Output:
	// sha256 of fixed:out:sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9:
	// = 01e66f2454a0bebfcbc7e85a3a5b947d58faa236184373a6e907a4de731c0dee
	// sha256 of output:out:sha256:01e66f2454a0bebfcbc7e85a3a5b947d58faa236184373a6e907a4de731c0dee:/nix/store:hello
	// = 0097881fdd3208f4b7e747f2f70067e18c86c548d47c8b12e9271ac73281797d
	// fold of 0097881fdd3208f4b7e747f2f70067e18c86c548d47c8b12e9271ac73281797d
	// = d4eb030d3415123385663e8ff70067e18c86c548
	// nix32 of d4eb030d3415123385663e8ff70067e18c86c548
	// = 932qd371cw0gg3rycs2k64hm6h6h7syl
	// join of /nix/store/932qd371cw0gg3rycs2k64hm6h6h7syl-hello
	// = /nix/store/932qd371cw0gg3rycs2k64hm6h6h7syl-hello
}
