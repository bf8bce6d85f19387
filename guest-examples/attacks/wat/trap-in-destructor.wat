;; Traps when a resource of its own is dropped.
(component
  (core module $drops (func (export "drop") (param i32) unreachable))
  (core instance $d (instantiate $drops))
  (type $thing (resource (rep i32) (dtor (core func $d "drop"))))
  (core func $new (canon resource.new $thing))
  (core func $drop (canon resource.drop $thing))
  (core module $main
    (import "host" "new" (func $new (param i32) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "run") (result i32) (call $drop (call $new (i32.const 7))) (i32.const 0)))
  (core instance $i (instantiate $main (with "host" (instance
    (export "new" (func $new)) (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
