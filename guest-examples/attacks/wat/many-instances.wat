;; A thousand core instances with a memory each: more than a pool's slots, and few enough to compile.
(component
  (component $c0
    (core module $m (memory 1) (func (export "run") (result i32) (i32.const 0)))
    (core instance $i (instantiate $m)))
  (component $c1 (alias outer 1 $c0 (component $inner))
    (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))
  (component $c2 (alias outer 1 $c1 (component $inner))
    (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))
  (component $c3 (alias outer 1 $c2 (component $inner))
    (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))
  (instance (instantiate $c3))
  (core module $main (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $main))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
