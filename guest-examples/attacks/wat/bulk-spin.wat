;; One instruction that copies 256 MiB, again and again: nothing yields within it.
(module
  (memory (export "memory") 8192)
  (func (export "_start")
    (loop $again
      (memory.copy (i32.const 0x10000000) (i32.const 0) (i32.const 0x0fff0000))
      (br $again))))
